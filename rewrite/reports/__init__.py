"""What a patch does: the forecast, what is measured afterwards, and the pages that say it."""

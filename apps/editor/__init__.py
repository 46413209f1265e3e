"""The editor: a page on which rules are brushed, priced, applied, taken back and exported."""

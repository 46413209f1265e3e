"""The measurements of `rewrite bench`, and what the library is measured against: one noun a file."""

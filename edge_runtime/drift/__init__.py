"""Is it getting worse, and why: label-free signals, one detector a file, and the cause. It only reports."""

"""`selfalign grade`: from what was asked for on the command line to a folder with a grade for every row."""

"""`selfalign select`: from what was asked for on the command line to a folder with the chosen rows."""

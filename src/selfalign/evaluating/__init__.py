"""`selfalign eval`: from a model and named suites, without any run, to a number for every metric and every item."""

"""`selfalign compare`: from runs, or rounds of them, to which is better, how sure that is, and what could be seen."""

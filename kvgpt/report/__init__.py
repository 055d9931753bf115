"""From a results file to figures and tables. No torch here: results are read and drawn on any machine."""

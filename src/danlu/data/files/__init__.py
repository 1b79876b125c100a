"""Files of a dataset: listed, recognised, and read within bounds of memory and inside the data folder."""

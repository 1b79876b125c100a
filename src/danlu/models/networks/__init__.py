"""Networks: each file holds one architecture, and its entries of the table of networks as `NETWORKS`."""

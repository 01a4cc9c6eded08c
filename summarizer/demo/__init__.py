"""A web page on this machine: paste a text, watch its summary appear, see where the model looked."""

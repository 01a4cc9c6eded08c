"""The same work done by the project and by its peers; how fast each of them is, and how close to the machine, out."""

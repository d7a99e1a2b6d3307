"""The live server: a data set's champion behind an address, followed as it changes."""

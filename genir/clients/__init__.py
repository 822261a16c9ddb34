"""Ways into other people's frameworks. Each module needs its own extra; none is needed by genir."""

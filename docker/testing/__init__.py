"""What docker/test is made of: an engine, a place to work in, and the checks in the order they are run."""

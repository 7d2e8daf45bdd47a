"""What format every tensor gets, and why; and the integer graph that follows from it."""

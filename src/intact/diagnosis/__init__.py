"""What is wrong with an integer network, whoever made it, and where."""

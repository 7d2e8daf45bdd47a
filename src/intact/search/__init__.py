"""The cheapest network that meets a limit."""

"""What is wrong with an integer network, whoever made it, and where: ``diagnose`` matches it with its float network, runs both
and names the faults.
"""

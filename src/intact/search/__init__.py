"""The cheapest network that meets a limit: ``ladder`` tries candidates from cheap to dear and judges each by measurement."""

"""A result as text: result.json, result.md and what the terminal shows. Reports read figures, never models."""

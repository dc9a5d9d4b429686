"""Result rows with their provenance, the figures drawn from them, and the pages of README and docs/ that quote them."""

"""What the product was measured and trained with: not shipped, and no contract."""

"""What an item is called: semantic IDs, their tokens, the items that share them. Knows no stage."""

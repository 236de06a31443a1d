"""Which rows teach, which choose and which judge: splits, folds, and what a champion may know of them."""

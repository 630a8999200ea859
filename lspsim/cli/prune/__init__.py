"""Commands about pruned networks: prune, finetune, train, front, demo."""

"""Pruning: scores, allocation, compensation, fine-tuning. Floor 5."""

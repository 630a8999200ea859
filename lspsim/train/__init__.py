"""Training: one resumable loop, from nothing or from a pruned network.

Start with `loop`; `from_scratch` and `finetune` are its two users.
"""

"""What methods must know of a network: layer statistics from streaming passes of images.

Start with `statistics` (Grams, input means, gains), which rests on `streaming`.
"""

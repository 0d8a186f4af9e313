"""The reference reader: the classic image captioner for molecules, exact.

A picture of 224x224, ImageNet features, Bahdanau attention and a GRU that writes SMILES character
by character between ``<`` and ``>``, 72 steps in all:

    molgaze i2s train --data molecules.smi.gz --out runs/i2s --minutes 1440
    molgaze i2s score --data molecules.smi.gz --weights runs/i2s
    molgaze i2s export runs/i2s -o weights/i2s.safetensors
    molgaze i2s read examples/i2s/*.png
    molgaze i2s show examples/i2s/caffeine.png -o strip.png

Variants, for the study of what attention is worth (docs/attention.md):

    plain   as it is: nobody says where to look
    fixed   no attention: the context is the mean of the 49 places at every step
    taught  as plain, with the drawn place of each atom's characters as the attention's target
    walk    as taught, with walk tokens in place of characters; a token's place is its attention's
"""

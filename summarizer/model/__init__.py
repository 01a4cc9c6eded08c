"""The encoder/decoder Transformer: tensors in, tensors out. It knows no text, no files and no config library.

Names carry their shape, one letter a dimension:

    B batch       S source positions     T target positions     D width        H heads
    K key size, U value size of a head   F feed-forward size    V vocabulary   W beams

"""

"""Short messages as values: RP messages, TPDUs, alphabets (TS 24.011, TS 23.040, TS 23.038).

``rp.parse`` reads the body of a MESSAGE, ``tpdu.parser.parse`` what is in it,
``concatenation.split`` makes parts of a text and ``explain`` a table of any of them.
"""

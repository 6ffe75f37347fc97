"""Operators as native code: netlists made for processors, and what runs on them."""

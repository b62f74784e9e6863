"""Tests of the parts that need no server. From the root: python3 -B -m unittest discover -s bench/tests -t bench"""

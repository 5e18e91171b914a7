# tests of fusion/

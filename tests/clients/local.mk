# tests of clients/

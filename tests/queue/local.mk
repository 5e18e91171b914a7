# tests of queue/

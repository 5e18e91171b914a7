# tests of encoders/

"""Tests of sipgram.net, on real sockets of the loopback interface."""

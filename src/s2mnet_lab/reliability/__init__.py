"""How s2mnet stands damaged files and interruptions; the last figures are in docs/reliability.md."""

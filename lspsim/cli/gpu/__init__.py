"""`lspsim gpu`: predict, measure, calibrate, breakeven."""

-- For intervals around the mean of tokens per call. NULL: not known, for the calls came before these were kept.
ALTER TABLE rollups ADD COLUMN token_squares REAL;

//! Durations as people write them: `1h30m`, `10m`, `90s`, `250ms`.

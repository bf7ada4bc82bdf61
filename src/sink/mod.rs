//! Where rows end: files, alerts, the console, the summary.

pub mod operator;

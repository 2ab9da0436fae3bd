//! Generated messages and services of graven.v1 and their conversions.

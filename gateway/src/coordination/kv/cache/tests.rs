mod model;
mod races;

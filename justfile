# The verbs of this project: `just` lists them. Each is one line that works without just as well.

# list the verbs
default:
    @just --list

# a simulated rover, its four endpoints and the console
demo *args:
    scripts/demo {{args}}

# install what tests need and run all of them
test *args:
    scripts/test {{args}}

# format, lints and the project's own rules
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo test --locked -p roverline-tests --test tidy

# what every change must pass
ci:
    .ci/run

# break a running rover in every way it should survive
faults *args:
    scripts/faults {{args}}

# let clients without rights attack a gateway
hostile *args:
    scripts/hostile {{args}}

# crash, pause and starve processes that share a store
chaos *args:
    scripts/chaos {{args}}

# measure beside peers
bench *args:
    cargo bench --locked -p roverline-bench {{args}}

# fuzz the decoders, ports, tokens, peers and the latch file
fuzz *args:
    scripts/fuzz {{args}}

# the API documentation of all crates
docs:
    cargo doc --locked --workspace --no-deps --open

# the pictures of the README, from a real run
pictures:
    scripts/pictures

# a Debian package and an archive
package:
    scripts/package

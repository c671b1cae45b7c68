package main

import "wanrep/resume"

// Names of the documents of "wanrep points list" and "wanrep points show".
const (
	pointsSchema = "wanrep.points/1"
	pointSchema  = "wanrep.point/1"
)

// A pointsDocument lists restore points and parts. The command prints it, and so
// does the control socket of a target.
type pointsDocument struct {
	Schema string         `json:"schema"`
	Points []resume.Point `json:"points"`
}

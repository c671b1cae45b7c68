package tui

// unicodeConsole tells whether a terminal without any locale shows UTF-8.
const unicodeConsole = true

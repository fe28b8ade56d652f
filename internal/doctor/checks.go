package doctor

// Check is one look at one thing.
type Check struct {
	// Name is its group and what it looks at.
	Name  string
	judge func(*facts) []Result
}

// checks are all there are, in the order of a report. docs/doctor.md explains
// each.
var checks = []Check{
	{"config.valid", checkValid},
	{"config.failover", checkFailover},
	{"config.cache", checkCache},
	{"config.records", checkRecords},
	{"config.drain", checkDrain},

	{"upstream.resolves", eachBackend(checkResolves)},
	{"upstream.connects", eachBackend(checkConnects)},
	{"upstream.tls", eachBackend(checkTLS)},
	{"upstream.loop", eachBackend(checkLoop)},
	{"upstream.answers", eachBackend(checkAnswers)},
	{"upstream.path", eachBackend(checkPath)},
	{"upstream.authorised", eachBackend(checkAuthorised)},
	{"upstream.kind", eachBackend(checkKind)},
	{"upstream.models", eachBackend(checkModels)},
	{"upstream.globs", eachBackend(checkGlobs)},
	{"upstream.latency", eachBackend(checkLatency)},
	{"upstream.stream", eachBackend(func(f *facts, b *backend) Result { return checkStream(b, f.Generate) })},
	{"upstream.timeouts", eachBackend(checkTimeouts)},
	{"upstream.clock", eachBackend(checkUpstreamClock)},

	{"log.database", checkDatabase},
	{"log.schema", ofSink(checkSchema)},
	{"log.rights", ofSink(checkRights)},
	{"log.speed", ofSink(checkSpeed)},
	{"log.encrypted", ofSink(checkEncrypted)},
	{"log.clock", checkDatabaseClock},
	{"log.spool", checkSpool},
	{"log.backlog", ofSpool(checkBacklog)},
	{"log.lost", ofSpool(checkLost)},
	{"log.set_aside", ofSpool(checkSetAside)},

	{"data.directory", checkDirectory},
	{"data.mode", ofDirectory(checkMode)},
	{"data.owner", ofDirectory(checkOwner)},
	{"data.space", ofDirectory(checkSpace)},
	{"data.sync", ofDirectory(checkSync)},
	{"data.volume", ofDirectory(checkVolume)},
	{"data.lock", ofDirectory(checkLock)},

	{"listen.ports", checkPorts},
	{"listen.running", checkRunning},
	{"listen.exposed", checkExposed},
	{"listen.certificate", checkCertificate},

	{"keys.admin", checkAdminKey},
	{"keys.files", checkKeyFiles},

	{"process.descriptors", ofProcess(checkDescriptors)},
	{"process.memory", ofProcess(checkMemory)},
	{"process.collector", ofProcess(checkGoMemory)},
	{"process.cpu", ofProcess(checkCPU)},
	{"process.clock", checkOwnClock},

	{"others.cache_l2", checkSecondTier},
	{"others.traces", checkTraces},
}

#!/usr/bin/env node
// Runs the command that the command line names; the only file of the program that touches `process`.
import { type Command, type Output, readCommand, usage } from './lib/config/command.ts'
import { describeConfig, readClientConfig, readConfig } from './lib/config/config.ts'
import { settingsHelp } from './lib/config/settings.ts'
import { reportFault } from './lib/fault.ts'
import { openHost } from './lib/system/host.ts'
import { readVersion } from './lib/system/version.ts'

const host = openHost(process)
let output: Output = 'line'
try {
  const command = readCommand(host.args)
  if (command.name === 'check') output = command.output
  await run(command)
} catch (error) {
  process.exitCode = reportFault(error, output, host)
}

async function run(command: Command) {
  switch (command.name) {
    case 'help':
      return host.print(`${usage}\n${settingsHelp()}`)
    case 'version':
      return host.print(`pg-health ${readVersion(import.meta.url)}\n`)
    case 'check-config':
      return host.print(describeConfig(config()))
    case 'check': {
      // Each command loads only its own code: a container runs `check` every few seconds.
      const { check } = await import('./lib/client/check.ts')
      process.exitCode = await check(command, readClientConfig(host.env), host)
      return
    }
    case 'serve': {
      const { serve } = await import('./lib/serve.ts')
      return serve(config(), host, readVersion(import.meta.url))
    }
  }
}

function config() {
  return readConfig(host.env, host.readTextFile, host.userName())
}

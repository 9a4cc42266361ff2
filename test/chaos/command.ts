import { main } from './main.js';

process.exitCode = await main(process.argv.slice(2), (text) => process.stdout.write(text));
// Clients' connections and timers are of no use any more.
process.exit();

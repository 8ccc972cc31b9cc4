// The same for Node, which is serverless-offline's own ground.
exports.handle = async (event) => ({ greeting: `Hello ${event.name}` });
